# METADATA
# custom:
#   callgate:
#     id: rego-pay-too-much
#     tools: [banking.send_money, banking.schedule_transaction]
package banking.pay_too_much

deny contains "Too much for an agent" if input.args.amount > 2500
