# METADATA
# custom:
#   callgate:
#     id: rego-move-customer
#     tools: [retail.modify_user_address, retail.modify_pending_order_payment]
package retail.move_customer

decision := {
	"decision": "require_approval",
	"approval": {"reviewers": ["team:retail"], "quorum": 1, "expires": "1h"},
}
