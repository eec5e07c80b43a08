# METADATA
# custom:
#   callgate:
#     id: rego-swap-on-a-gift-card
#     tools: [retail.exchange_delivered_order_items, retail.modify_pending_order_items]
package retail.swap_on_a_gift_card

default decision := null

decision := {
	"decision": "require_approval",
	"approval": {"reviewers": ["team:retail"], "quorum": 1, "expires": "1h"},
} if startswith(input.args.payment_method_id, "gift_card_")
