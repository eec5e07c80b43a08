# METADATA
# description: Writes in staging, within bounds.
# custom:
#   callgate:
#     id: writes-in-staging
#     tools: [office.write_row]
#     agents: [deployer]
package office.writes_in_staging

default decision := null

decision := {"decision": "allow_with_constraints", "constraints": {"max_rows": 100}} if {
	input.environment == "staging"
}
