# METADATA
# custom:
#   callgate:
#     id: rego-return-otherwise
#     tools: [retail.return_delivered_order_items]
package retail.return_otherwise

default decision := null

decision := {"decision": "throttle", "retry_after": "30s"} if not strings.any_prefix_match(input.args.payment_method_id, ["gift_card_", "credit_card_"])
