# METADATA
# custom:
#   callgate:
#     id: rego-redirect-payment
#     tools: [banking.update_scheduled_transaction]
package banking.redirect_payment

deny contains "A payment keeps its recipient" if "recipient" in object.keys(input.args)
