package aws

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// taskDefinition is one revision of a family. The document is kept as it was
// registered, because a stand-in that dropped members would hide what a check
// of the definition is there to find.
type taskDefinition struct {
	family       string
	revision     int
	status       string // ACTIVE, INACTIVE
	registered   time.Time
	deregistered time.Time
	by           string
	document     map[string]json.RawMessage
	containers   []containerDefinition
}

// containerDefinition is what the scheduler itself needs of a container.
type containerDefinition struct {
	Name        string     `json:"name"`
	Image       string     `json:"image"`
	Essential   *bool      `json:"essential"`
	Environment []keyValue `json:"environment"`
	Secrets     []struct {
		Name      string `json:"name"`
		ValueFrom string `json:"valueFrom"`
	} `json:"secrets"`
	HealthCheck *struct {
		Command []string `json:"command"`
	} `json:"healthCheck"`
}

type keyValue struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func (s *Server) ecsARN(kind, rest string) string {
	return "arn:aws:ecs:" + s.region + ":" + s.account + ":" + kind + "/" + rest
}

func (s *Server) definitionARN(d *taskDefinition) string {
	return s.ecsARN("task-definition", d.family+":"+strconv.Itoa(d.revision))
}

// checked tells whether ECS judges the health of the definition's tasks.
func (d *taskDefinition) checked() bool {
	return slices.ContainsFunc(d.containers, func(c containerDefinition) bool { return c.HealthCheck != nil })
}

// register adds a revision. The caller holds the lock.
func (s *Server) register(c call, document map[string]json.RawMessage) (*taskDefinition, error) {
	d := &taskDefinition{status: "ACTIVE", registered: c.now, by: c.who.arn(), document: maps.Clone(document)}
	if err := json.Unmarshal(document["family"], &d.family); err != nil || d.family == "" {
		return nil, refuse("ClientException", "Family cannot be blank.")
	}
	if err := json.Unmarshal(document["containerDefinitions"], &d.containers); err != nil || len(d.containers) == 0 {
		return nil, refuse("ClientException", "Container definitions must not be empty.")
	}
	for _, container := range d.containers {
		if container.Name == "" || container.Image == "" {
			return nil, refuse("ClientException", "Container.name and Container.image should not be null or empty.")
		}
	}
	delete(d.document, "tags") // they stand beside the definition, not in it
	d.revision = len(s.families[d.family]) + 1
	s.families[d.family] = append(s.families[d.family], d)
	return d, nil
}

// definition finds a revision by ARN, "family:revision" or "family" (the newest
// active one). The caller holds the lock.
func (s *Server) definition(reference string) (*taskDefinition, error) {
	name := reference
	if i := strings.LastIndexByte(reference, '/'); i >= 0 {
		name = reference[i+1:]
	}
	family, number, numbered := strings.Cut(name, ":")
	for _, d := range slices.Backward(s.families[family]) {
		if numbered && strconv.Itoa(d.revision) == number || !numbered && d.status == "ACTIVE" {
			return d, nil
		}
	}
	return nil, refuse("ClientException", "Unable to describe task definition.")
}

func (s *Server) describe(d *taskDefinition) map[string]any {
	out := map[string]any{
		"taskDefinitionArn": s.definitionARN(d), "revision": d.revision, "status": d.status,
		"registeredAt": seconds{d.registered}, "registeredBy": d.by,
	}
	for member, raw := range d.document {
		out[member] = raw
	}
	if !d.deregistered.IsZero() {
		out["deregisteredAt"] = seconds{d.deregistered}
	}
	return out
}

type definitionOutput struct {
	TaskDefinition map[string]any `json:"taskDefinition"`
}

type definitionInput struct {
	TaskDefinition string   `json:"taskDefinition"`
	Include        []string `json:"include"`
}

func (s *Server) registerTaskDefinition(c call, in *map[string]json.RawMessage) (*definitionOutput, error) {
	d, err := s.register(c, *in)
	if err != nil {
		return nil, err
	}
	return &definitionOutput{s.describe(d)}, nil
}

func (s *Server) describeTaskDefinition(_ call, in *definitionInput) (*definitionOutput, error) {
	d, err := s.definition(in.TaskDefinition)
	if err != nil {
		return nil, err
	}
	return &definitionOutput{s.describe(d)}, nil
}

func (s *Server) deregisterTaskDefinition(c call, in *definitionInput) (*definitionOutput, error) {
	if !strings.Contains(in.TaskDefinition[strings.LastIndexByte(in.TaskDefinition, '/')+1:], ":") {
		return nil, refuse("ClientException", "Missing version for task definition.")
	}
	d, err := s.definition(in.TaskDefinition)
	if err != nil {
		return nil, err
	}
	d.status, d.deregistered = "INACTIVE", c.now
	return &definitionOutput{s.describe(d)}, nil
}

type listDefinitionsInput struct {
	FamilyPrefix string `json:"familyPrefix"`
	Status       string `json:"status"`
	Sort         string `json:"sort"`
	MaxResults   *int   `json:"maxResults"`
	NextToken    string `json:"nextToken"`
}

type listDefinitionsOutput struct {
	ARNs      []string `json:"taskDefinitionArns"`
	NextToken string   `json:"nextToken,omitempty"`
}

func (s *Server) listTaskDefinitions(_ call, in *listDefinitionsInput) (*listDefinitionsOutput, error) {
	limit, ok := within(in.MaxResults, 100, 100)
	if !ok {
		return nil, refuse("InvalidParameterException", "maxResults must be between 1 and 100.")
	}
	status := or(in.Status, "ACTIVE")
	var arns []string
	for _, family := range slices.Sorted(maps.Keys(s.families)) {
		// AWS's familyPrefix is the family's whole name, whatever it is called.
		if in.FamilyPrefix != "" && family != in.FamilyPrefix {
			continue
		}
		for _, d := range s.families[family] {
			if d.status == status {
				arns = append(arns, s.definitionARN(d))
			}
		}
	}
	if in.Sort == "DESC" {
		slices.Reverse(arns)
	}
	some, next, ok := page(arns, fmt.Sprintf("definitions %s %s %s", in.FamilyPrefix, status, in.Sort), in.NextToken, limit)
	if !ok {
		return nil, refuse("InvalidParameterException", "Invalid token.")
	}
	return &listDefinitionsOutput{append([]string{}, some...), next}, nil
}
