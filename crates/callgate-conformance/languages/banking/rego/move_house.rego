# METADATA
# custom:
#   callgate:
#     id: rego-move-house
#     tools: [banking.update_user_info]
package banking.move_house

default decision := null

decision := "allow" if {
	not "first_name" in object.keys(input.args)
	not "last_name" in object.keys(input.args)
}
