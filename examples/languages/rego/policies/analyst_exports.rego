# METADATA
# description: The analyst may do both, but office.dogwood keeps them apart.
# custom:
#   callgate:
#     id: analyst-exports
#     tools: [office.export_crm]
#     agents: [analyst]
package office.analyst_exports

decision := "allow"
