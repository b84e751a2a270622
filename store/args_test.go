package store

import (
	"reflect"
	"testing"
)

// What River stores are ids and numbers, and nothing that a secret could lie in.
func TestTheQueueHoldsIdsOnly(t *testing.T) {
	for _, args := range []reflect.Type{reflect.TypeFor[wakeArgs](), reflect.TypeFor[tickArgs]()} {
		for f := range args.Fields() {
			switch f.Type.Kind() {
			case reflect.String, reflect.Int64:
			default:
				t.Errorf("%s.%s is a %s: keep it in the operation, and look it up", args.Name(), f.Name, f.Type)
			}
		}
	}
}
