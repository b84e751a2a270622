package runbook

// Foresee is what the guard makes of resources, as (what the next apply does, and a
// key that nothing would use).
func Foresee(resources []Resource, parameter string, old KeyID) (does, litter string) {
	f := foresee(resources, parameter, old)
	return f.Does, f.Litter
}
