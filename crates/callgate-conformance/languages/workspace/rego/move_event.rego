# METADATA
# custom:
#   callgate:
#     id: rego-move-event
#     tools: [workspace.reschedule_calendar_event, workspace.add_calendar_event_participants]
package workspace.move_event

decision := {"decision": "throttle", "retry_after": "5s"}
