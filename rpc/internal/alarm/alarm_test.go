package alarm

import (
	"sync"
	"testing"
	"time"
)

func TestFiresInTime(t *testing.T) {
	begin := time.Now()
	late, soon := New(), New()
	late.Set(begin.Add(time.Hour)) // the goroutine waits for this one when the earlier one comes
	soon.Set(begin.Add(20 * time.Millisecond))
	<-soon.C
	if took := time.Since(begin); took < 20*time.Millisecond || took > 5*time.Second {
		t.Errorf("fired after %v", took)
	}
	select {
	case <-late.C:
		t.Error("fired an hour early")
	default:
	}
	late.Stop()
	past := New()
	past.Set(begin.Add(-time.Hour))
	<-past.C
}

func TestStop(t *testing.T) {
	a := New()
	a.Stop()
	a.Set(time.Time{}) // never
	a.Stop()
	for range 100 {
		a.Set(time.Now().Add(time.Microsecond))
		a.Stop() // fired or not: C is empty after it
		select {
		case <-a.C:
			t.Fatal("C is not empty after Stop")
		default:
		}
	}
}

// TestGoroutineEnds: no thread stays behind for alarms that are stopped, however far away they were.
func TestGoroutineEnds(t *testing.T) {
	alarms := make([]*Alarm, 100)
	for i := range alarms {
		alarms[i] = New()
		alarms[i].Set(time.Now().Add(time.Duration(i+1) * time.Hour))
	}
	for _, a := range alarms {
		a.Stop()
	}
	alive := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return running
	}
	for end := time.Now().Add(10 * time.Second); alive(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the goroutine is still there")
		}
	}
	again := New()
	again.Set(time.Now())
	<-again.C
}

func TestManyAtOnce(t *testing.T) {
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			a := New()
			for j := range 50 {
				at := time.Now().Add(time.Duration((i*j)%700) * time.Microsecond)
				a.Set(at)
				if j%3 == 0 {
					a.Stop()
					continue
				}
				<-a.C
				if time.Now().Before(at) {
					t.Error("early")
				}
				a.Stop()
			}
		})
	}
	wg.Wait()
}
