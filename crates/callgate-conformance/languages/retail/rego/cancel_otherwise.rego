# METADATA
# custom:
#   callgate:
#     id: rego-cancel-otherwise
#     tools: [retail.cancel_pending_order]
package retail.cancel_otherwise

deny contains "The customer gives one of two reasons" if {
	not input.args.reason in {"no longer needed", "ordered by mistake"}
}
