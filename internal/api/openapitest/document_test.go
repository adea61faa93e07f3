// Package openapitest holds the published OpenAPI document against the specification with
// a validator of its own. It is a module of its own, so that who builds the plugin does not
// get the validator's dependencies.
package openapitest

import (
	"os"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
)

// document is what the API says of itself; a test of the API keeps it up to date.
const document = "../../../docs/openapi.json"

func TestDocumentIsValid(t *testing.T) {
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	d, err := libopenapi.NewDocument(text)
	if err != nil {
		t.Fatal(err)
	}
	if v := d.GetVersion(); v != "3.1.0" {
		t.Errorf("version %s", v)
	}
	model, err := d.BuildV3Model()
	if err != nil {
		t.Fatal(err)
	}
	if n := model.Model.Paths.PathItems.Len(); n < 25 {
		t.Errorf("%d paths", n)
	}
	v, errs := validator.NewValidator(d)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if ok, faults := v.ValidateDocument(); !ok {
		for _, f := range faults {
			t.Errorf("%s: %s", f.Message, f.Reason)
			for _, at := range f.SchemaValidationErrors {
				t.Errorf("  %s", at.Reason)
			}
		}
	}
}

// TestValidatorSees breaks the document once, so that the test above is known to see it.
func TestValidatorSees(t *testing.T) {
	d, err := libopenapi.NewDocument([]byte(`{"openapi":"3.1.0","info":{"title":"x"},"paths":{"/x":{"get":{"responses":{"200":{}}}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	v, errs := validator.NewValidator(d)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if ok, _ := v.ValidateDocument(); ok {
		t.Error("a document without a version, and with an answer without a description, passes")
	}
}
