package aws

import (
	"maps"
	"slices"
	"time"
)

// State is everything that the stand-in holds, values included.
type State struct {
	Account      string              `json:"account"`
	Region       string              `json:"region"`
	Settings     Settings            `json:"settings"`
	Parameters   []ParameterState    `json:"parameters"`
	Services     []ServiceState      `json:"services"`
	Identities   map[string]Identity `json:"identities"` // by access key id
	Roles        []string            `json:"roles"`
	Certificates []Certificate       `json:"certificates"`
	Events       int                 `json:"events"` // in CloudTrail
}

// ParameterState is one parameter; the last version is the newest.
type ParameterState struct {
	Name     string            `json:"name"`
	Tags     map[string]string `json:"tags,omitempty"`
	Versions []VersionState    `json:"versions"`
}

// VersionState is one version of a parameter.
type VersionState struct {
	Version  int64     `json:"version"`
	Type     string    `json:"type"`
	Value    string    `json:"value"`
	KeyID    string    `json:"key_id,omitempty"`
	Labels   []string  `json:"labels,omitempty"`
	Modified time.Time `json:"modified"`
	By       string    `json:"by"`
}

// ServiceState is one service with its tasks.
type ServiceState struct {
	Cluster     string            `json:"cluster"`
	Name        string            `json:"name"`
	Desired     int               `json:"desired"`
	Deployments []DeploymentState `json:"deployments"` // the primary first
	Tasks       []TaskState       `json:"tasks"`
	Events      []string          `json:"events"` // newest first
	Behaviour   Behaviour         `json:"behaviour"`
}

// DeploymentState is one deployment of a service.
type DeploymentState struct {
	ID      string    `json:"id"`
	Status  string    `json:"status"`
	Rollout string    `json:"rollout"`
	Reason  string    `json:"reason"`
	Created time.Time `json:"created"`
	Failed  int       `json:"failed"`
}

// TaskState is one task, with the environment that its containers got.
type TaskState struct {
	ID          string            `json:"id"`
	StartedBy   string            `json:"started_by"`
	Last        string            `json:"last_status"`
	Desired     string            `json:"desired_status"`
	Health      string            `json:"health"`
	Created     time.Time         `json:"created"`
	Reason      string            `json:"stopped_reason,omitempty"`
	Environment map[string]string `json:"environment,omitempty"`
}

// State returns a copy of everything, as a [State].
func (s *Server) State() any { return s.Snapshot() }

// Snapshot is State with its type.
func (s *Server) Snapshot() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := State{
		Account: s.account, Region: s.region, Settings: s.settings, Identities: maps.Clone(s.identities),
		Roles: slices.Sorted(maps.Keys(s.roles)), Events: len(s.events),
		Parameters: []ParameterState{}, Services: []ServiceState{}, Certificates: []Certificate{},
	}
	for _, name := range s.names() {
		p := s.parameters[name]
		shown := ParameterState{Name: name, Tags: maps.Clone(p.tags)}
		for _, v := range p.versions {
			shown.Versions = append(shown.Versions, VersionState{v.number, v.kind, v.value, v.keyID, slices.Clone(v.labels), v.modified, v.by})
		}
		out.Parameters = append(out.Parameters, shown)
	}
	for _, clusterName := range slices.Sorted(maps.Keys(s.clusters)) {
		services := s.clusters[clusterName].services
		for _, name := range slices.Sorted(maps.Keys(services)) {
			out.Services = append(out.Services, services[name].state())
		}
	}
	for _, arn := range slices.Sorted(maps.Keys(s.certificates)) {
		out.Certificates = append(out.Certificates, s.certificates[arn])
	}
	return out
}

func (v *service) state() ServiceState {
	out := ServiceState{Cluster: v.cluster, Name: v.name, Desired: v.desired, Behaviour: Behaviour{v.stuck, v.failNext},
		Deployments: []DeploymentState{}, Tasks: []TaskState{}, Events: []string{}}
	for _, d := range v.deployments {
		out.Deployments = append(out.Deployments, DeploymentState{d.id(), d.status, d.rollout, d.reason, d.created, d.failed})
	}
	for _, t := range v.tasks {
		out.Tasks = append(out.Tasks, TaskState{t.id, t.deployment.id(), t.last, t.desired, t.health, t.created, t.stopReason, maps.Clone(t.secrets)})
	}
	for _, e := range v.events {
		out.Events = append(out.Events, e.at.UTC().Format(time.RFC3339)+" "+e.message)
	}
	return out
}
