# METADATA
# custom:
#   callgate:
#     id: rego-swap-for-itself
#     tools: [retail.exchange_delivered_order_items, retail.modify_pending_order_items]
package retail.swap_for_itself

deny contains "An item is not exchanged for itself" if {
	some item in input.args.item_ids
	item in input.args.new_item_ids
}
