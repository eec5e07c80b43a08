# METADATA
# custom:
#   callgate:
#     id: rego-swap
#     tools: [retail.exchange_delivered_order_items, retail.modify_pending_order_items]
package retail.swap

decision := {"decision": "allow_with_constraints", "constraints": {"max_retries": 1}}
