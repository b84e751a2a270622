package main

import (
	"context"
	"net/http"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/mapplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

// password is azuread_application_password.
type password struct{ graph *graph }

type passwordModel struct {
	ID                types.String `tfsdk:"id"`
	ApplicationID     types.String `tfsdk:"application_id"`
	DisplayName       types.String `tfsdk:"display_name"`
	EndDate           types.String `tfsdk:"end_date"`
	RotateWhenChanged types.Map    `tfsdk:"rotate_when_changed"`
	KeyID             types.String `tfsdk:"key_id"`
	Value             types.String `tfsdk:"value"`
}

func (*password) Metadata(_ context.Context, _ resource.MetadataRequest, r *resource.MetadataResponse) {
	r.TypeName = "azuread_application_password"
}

func (*password) Schema(_ context.Context, _ resource.SchemaRequest, r *resource.SchemaResponse) {
	again := []planmodifier.String{stringplanmodifier.RequiresReplace()}
	kept := []planmodifier.String{stringplanmodifier.UseStateForUnknown()}
	r.Schema = schema.Schema{Attributes: map[string]schema.Attribute{
		"id":                  schema.StringAttribute{Computed: true, PlanModifiers: kept},
		"application_id":      schema.StringAttribute{Required: true, PlanModifiers: again},
		"display_name":        schema.StringAttribute{Optional: true, PlanModifiers: again},
		"end_date":            schema.StringAttribute{Optional: true, Computed: true, PlanModifiers: append(kept, again...)},
		"rotate_when_changed": schema.MapAttribute{Optional: true, ElementType: types.StringType, PlanModifiers: []planmodifier.Map{mapplanmodifier.RequiresReplace()}},
		"key_id":              schema.StringAttribute{Computed: true, PlanModifiers: kept},
		"value":               schema.StringAttribute{Computed: true, Sensitive: true, PlanModifiers: kept},
	}}
}

func (p *password) Configure(_ context.Context, in resource.ConfigureRequest, _ *resource.ConfigureResponse) {
	p.graph, _ = in.ProviderData.(*graph)
}

// credential is Graph's passwordCredential.
type credential struct {
	KeyID       string `json:"keyId,omitempty"`
	DisplayName string `json:"displayName,omitempty"`
	EndDateTime string `json:"endDateTime,omitempty"`
	SecretText  string `json:"secretText,omitempty"`
}

func (p *password) Create(ctx context.Context, in resource.CreateRequest, r *resource.CreateResponse) {
	var m passwordModel
	if r.Diagnostics.Append(in.Plan.Get(ctx, &m)...); r.Diagnostics.HasError() {
		return
	}
	var made credential
	err := p.graph.call(ctx, http.MethodPost, m.ApplicationID.ValueString()+"/addPassword", map[string]credential{
		"passwordCredential": {DisplayName: m.DisplayName.ValueString(), EndDateTime: m.EndDate.ValueString()},
	}, &made)
	if err != nil {
		r.Diagnostics.AddError("Adding password for application", err.Error())
		return
	}
	m.KeyID, m.Value, m.EndDate = types.StringValue(made.KeyID), types.StringValue(made.SecretText), types.StringValue(made.EndDateTime)
	m.ID = types.StringValue(strings.TrimPrefix(m.ApplicationID.ValueString(), "/applications/") + "/password/" + made.KeyID)
	r.Diagnostics.Append(r.State.Set(ctx, &m)...)
}

// Read drops a password that was removed outside, so that it is made anew.
func (p *password) Read(ctx context.Context, in resource.ReadRequest, r *resource.ReadResponse) {
	var m passwordModel
	if r.Diagnostics.Append(in.State.Get(ctx, &m)...); r.Diagnostics.HasError() {
		return
	}
	var app struct {
		Passwords []credential `json:"passwordCredentials"`
	}
	if err := p.graph.call(ctx, http.MethodGet, m.ApplicationID.ValueString(), nil, &app); err != nil {
		r.Diagnostics.AddError("Retrieving application", err.Error())
		return
	}
	for _, c := range app.Passwords {
		if c.KeyID == m.KeyID.ValueString() {
			return
		}
	}
	r.State.RemoveResource(ctx)
}

// Update has nothing to do: whatever changes is made anew.
func (*password) Update(context.Context, resource.UpdateRequest, *resource.UpdateResponse) {}

func (p *password) Delete(ctx context.Context, in resource.DeleteRequest, r *resource.DeleteResponse) {
	var m passwordModel
	if r.Diagnostics.Append(in.State.Get(ctx, &m)...); r.Diagnostics.HasError() {
		return
	}
	err := p.graph.call(ctx, http.MethodPost, m.ApplicationID.ValueString()+"/removePassword", map[string]string{"keyId": m.KeyID.ValueString()}, nil)
	if err != nil {
		r.Diagnostics.AddError("Removing password credential", err.Error())
	}
}
