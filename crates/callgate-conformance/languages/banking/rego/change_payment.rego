# METADATA
# custom:
#   callgate:
#     id: rego-change-payment
#     tools: [banking.update_scheduled_transaction]
package banking.change_payment

decision := "allow"
