# METADATA
# description: Small refunds. What is no number has no answer here, and no answer denies.
# custom:
#   callgate:
#     id: refunds-up-to-50
#     tools: [office.refund]
#     agents: ["support-*"]
package office.refunds_up_to_50

decision := "allow" if {
	is_number(input.args.amount)
	input.args.amount <= 50
}

decision := null if {
	is_number(input.args.amount)
	input.args.amount > 50
}
