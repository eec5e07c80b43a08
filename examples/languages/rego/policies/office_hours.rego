# METADATA
# description: Working hours, in UTC, by the gate's clock.
# custom:
#   callgate:
#     id: office-hours
#     tools: [office.update_record]
#     agents: [clerk]
package office.office_hours

now_ns := input.now_ms * 1000000

default decision := null

decision := "allow" if {
	[hour, _, _] := time.clock(now_ns)
	hour >= 9
	hour < 17
	not time.weekday(now_ns) in {"Saturday", "Sunday"}
}
