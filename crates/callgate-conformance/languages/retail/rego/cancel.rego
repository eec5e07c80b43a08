# METADATA
# custom:
#   callgate:
#     id: rego-cancel
#     tools: [retail.cancel_pending_order]
package retail.cancel

default decision := null

decision := "allow" if {
	input.args.reason in {"no longer needed", "ordered by mistake"}
	startswith(input.args.order_id, "#W")
}
