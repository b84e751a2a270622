// Package incident looks back at what happened: it has the audit logs of a secret
// read with everything that explains them, and drafts an incident's report from
// the record.
package incident
