# METADATA
# description: Refunds over a second limit are out of the question, whoever asks.
# custom:
#   callgate:
#     id: refunds-over-5000
#     tools: [office.refund]
package office.refunds_over_5000

decision := null if {
	is_number(input.args.amount)
	input.args.amount <= 5000
}

decision := {"decision": "deny", "reason": "Nobody refunds more than 5000 through an agent"} if {
	is_number(input.args.amount)
	input.args.amount > 5000
}
