# METADATA
# custom:
#   callgate:
#     id: rego-raise-payment
#     tools: [banking.update_scheduled_transaction]
package banking.raise_payment

default decision := null

decision := {
	"decision": "require_approval",
	"approval": {"reviewers": ["role:owner"], "quorum": 1, "expires": "30m"},
} if input.args.amount > 1000.5
