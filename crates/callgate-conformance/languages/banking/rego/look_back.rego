# METADATA
# custom:
#   callgate:
#     id: rego-look-back
#     tools: [banking.get_most_recent_transactions]
package banking.look_back

default decision := null

decision := "allow" if not "n" in object.keys(input.args)

decision := "allow" if input.args.n <= 100
