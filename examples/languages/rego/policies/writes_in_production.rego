# METADATA
# description: Production writes. What does not say where it goes may go to production.
# custom:
#   callgate:
#     id: writes-in-production
#     tools: [office.write_row]
package office.writes_in_production

default decision := null

decision := waits if input.environment == "prod"

decision := waits if not input.environment

waits := {"decision": "require_approval", "reason": "Production writes need a person"}
