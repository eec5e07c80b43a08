# METADATA
# description: Refunds over a limit wait for a person.
# custom:
#   callgate:
#     id: refunds-over-50
#     tools: [office.refund]
#     agents: ["support-*"]
package office.refunds_over_50

decision := null if {
	is_number(input.args.amount)
	input.args.amount <= 50
}

decision := {
	"decision": "require_approval",
	"reason": "Refunds over 50 need finance",
	"approval": {"reviewers": ["role:finance"]},
} if {
	is_number(input.args.amount)
	input.args.amount > 50
}
