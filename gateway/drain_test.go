package gateway

import "testing"

// pensive is a Talk that takes its time to answer.
type pensive struct {
	commander
	entered, pass chan struct{}
}

func (t pensive) Receive(s *Session, _ bool, _ []byte) {
	t.entered <- struct{}{}
	<-t.pass
	s.tellAside(Reachable{})
}

// TestRequestsAreAnsweredBeforeTheEnd: a session that is to end while a client's
// requests are being acted on ends when they are answered.
func TestRequestsAreAnsweredBeforeTheEnd(t *testing.T) {
	r := newRig(t, nil)
	talk := pensive{entered: make(chan struct{}), pass: make(chan struct{})}
	r.talk = talk
	ws := r.dial()
	hear(t, ws, noRecord(t), "Opened")
	request(t, ws, command{})
	<-talk.entered
	r.pool.Drain(CloseRestart, "changed", 0)
	talk.pass <- struct{}{}
	hear(t, ws, noRecord(t), "Reachable")
	if code, _ := readClose(t, ws); code != CloseRestart {
		t.Errorf("closed with %d, want %d", code, CloseRestart)
	}
}
