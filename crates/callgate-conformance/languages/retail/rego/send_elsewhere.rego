# METADATA
# custom:
#   callgate:
#     id: rego-send-elsewhere
#     tools: [retail.modify_pending_order_address]
package retail.send_elsewhere

default decision := null

decision := "allow" if {
	input.args.country == "USA"
	input.args.state != "TX"
}
