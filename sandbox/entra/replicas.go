package entra

import "time"

// Nothing is copied between replicas here: what one knows follows from when a
// password was added or removed and from that replica's delay.

// knownAt reports whether a replica that is behind by learn for additions and by
// forget for removals has the password at now.
func (p Password) knownAt(now time.Time, learn, forget time.Duration) bool {
	if now.Before(p.Added.Add(learn)) && !p.Added.IsZero() {
		return false
	}
	return p.Removed.IsZero() || now.Before(p.Removed.Add(forget))
}

// tokenReplica returns the delays of the token replica whose turn it is.
func (s *Server) tokenReplica() (learn, forget time.Duration) {
	n := max(len(s.behaviour.Learn), len(s.behaviour.Forget))
	if n == 0 {
		return 0, 0
	}
	i := s.nextTurn() % n
	return delay(s.behaviour.Learn, i), delay(s.behaviour.Forget, i)
}

// readReplica returns how old the reads of the Graph replica are whose turn it is.
func (s *Server) readReplica() time.Duration {
	if len(s.behaviour.Read) == 0 {
		return 0
	}
	return delay(s.behaviour.Read, s.nextTurn()%len(s.behaviour.Read))
}

func (s *Server) nextTurn() int {
	s.turn++
	return s.turn - 1
}

func delay(seconds []float64, i int) time.Duration {
	if i >= len(seconds) {
		return 0
	}
	return realSeconds(seconds[i])
}

func realSeconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// visible returns the passwords that a read replica behind by age lists.
func visible(list []Password, now time.Time, age time.Duration) []Password {
	out := make([]Password, 0, len(list))
	for _, p := range list {
		if p.knownAt(now, age, age) {
			out = append(out, p)
		}
	}
	return out
}
