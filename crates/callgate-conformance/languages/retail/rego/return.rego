# METADATA
# custom:
#   callgate:
#     id: rego-return
#     tools: [retail.return_delivered_order_items]
package retail.return

default decision := null

decision := "allow" if strings.any_prefix_match(input.args.payment_method_id, ["gift_card_", "credit_card_"])
