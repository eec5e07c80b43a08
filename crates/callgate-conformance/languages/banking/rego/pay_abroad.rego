# METADATA
# custom:
#   callgate:
#     id: rego-pay-abroad
#     tools: [banking.send_money, banking.schedule_transaction]
package banking.pay_abroad

default decision := null

decision := {
	"decision": "require_approval",
	"approval": {"reviewers": ["role:owner"], "quorum": 1, "expires": "30m"},
} if {
	not startswith(input.args.recipient, "GB")
	not startswith(input.args.recipient, "UK")
}
