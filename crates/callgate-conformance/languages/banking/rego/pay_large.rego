# METADATA
# custom:
#   callgate:
#     id: rego-pay-large
#     tools: [banking.send_money, banking.schedule_transaction]
package banking.pay_large

default decision := null

decision := {
	"decision": "require_approval",
	"approval": {"reviewers": ["role:owner"], "quorum": 1, "expires": "30m"},
} if input.args.amount > 100
