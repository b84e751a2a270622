// Command azuread is a stand-in for Terraform's azuread provider, to be used with
// the sandbox and with nothing else. It knows one resource,
// azuread_application_password, with the names and the behaviour of version 3: it
// cannot be imported, one that was removed outside is made anew, and its value lies
// in the state. It is a module of its own so that nothing of it gets into the bot.
package main

import (
	"context"
	"log"
	"os"

	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/provider"
	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-framework/resource"
)

func main() {
	err := providerserver.Serve(context.Background(), func() provider.Provider { return standIn{} },
		providerserver.ServeOpts{Address: "registry.terraform.io/hashicorp/azuread"})
	if err != nil {
		log.Fatal(err)
	}
}

type standIn struct{}

func (standIn) Metadata(_ context.Context, _ provider.MetadataRequest, r *provider.MetadataResponse) {
	r.TypeName = "azuread"
}

func (standIn) Schema(context.Context, provider.SchemaRequest, *provider.SchemaResponse) {}

// Configure takes the sandbox from the environment: ARM_TENANT_ID, ARM_CLIENT_ID and
// ARM_CLIENT_SECRET as the real one does, and where the sandbox is.
func (standIn) Configure(_ context.Context, _ provider.ConfigureRequest, r *provider.ConfigureResponse) {
	g, err := newGraph(os.Getenv)
	if err != nil {
		r.Diagnostics.AddError("The sandbox can't be reached", err.Error())
		return
	}
	r.ResourceData = g
}

func (standIn) DataSources(context.Context) []func() datasource.DataSource { return nil }

func (standIn) Resources(context.Context) []func() resource.Resource {
	return []func() resource.Resource{func() resource.Resource { return &password{} }}
}
