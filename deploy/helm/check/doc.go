// Package check has the tests of the Helm chart. It is a module of its own, outside of
// the workspace, so that what Helm and Kubernetes need never decides what the
// services get: `make helm-check`.
package check
