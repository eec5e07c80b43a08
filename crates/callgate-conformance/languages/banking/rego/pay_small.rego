# METADATA
# custom:
#   callgate:
#     id: rego-pay-small
#     tools: [banking.send_money, banking.schedule_transaction]
package banking.pay_small

default decision := null

decision := {"decision": "allow_with_constraints", "constraints": {"max_retries": 1}} if {
	is_number(input.args.amount)
	input.args.amount <= 100
}
