# METADATA
# custom:
#   callgate:
#     id: rego-look
#     tools: [banking.get_iban, banking.get_balance, banking.get_user_info, banking.get_scheduled_transactions]
package banking.look

decision := "allow"
