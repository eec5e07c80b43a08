# METADATA
# description: Least privilege; the header names agent and tool, and what nothing speaks of is denied.
# custom:
#   callgate:
#     id: reader-searches
#     tools: [office.search_crm]
#     agents: [reader]
package office.reader_searches

decision := "allow"
