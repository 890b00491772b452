package faulty

import "github.com/benchfs/benchfs/store"

// Device is a store.Device that fails as planned: a StartCommit or StartReserve at once, a StartView at its end. The calls are those of
// Store: View stands for StartView, and so on.
type Device struct {
	*Store
	device store.Device
	failed map[any]error // by tag
}

var _ store.Device = (*Device)(nil)

// WrapDevice makes a failing device of one that works.
func WrapDevice(d store.Device, plan Plan) *Device {
	return &Device{Store: Wrap(d, plan), device: d, failed: make(map[any]error)}
}

// StartView implements store.Device.
func (d *Device) StartView(ino, chunk uint64, off, n uint32, gen uint32, tag any) (v store.View, done bool, err error) {
	planned := d.ask(View, ino)
	v, done, err = d.device.StartView(ino, chunk, off, n, gen, tag)
	switch {
	case err != nil || planned == nil:
		return v, done, err
	case done:
		d.Release(v)
		return store.View{}, true, planned
	}
	d.failed[tag] = planned
	return v, false, nil
}

// StartCommit implements store.Device.
func (d *Device) StartCommit(w store.Write, tag any) (done bool, err error) {
	if err := d.ask(Commit, 0); err != nil {
		d.Abort(w)
		return true, err
	}
	return d.device.StartCommit(w, tag)
}

// StartReserve implements store.Device.
func (d *Device) StartReserve(ino, chunk uint64, n uint32, gen uint32, chunkBits uint8, tag any) (done bool, err error) {
	if err := d.ask(Reserve, ino); err != nil {
		return true, err
	}
	return d.device.StartReserve(ino, chunk, n, gen, chunkBits, tag)
}

// Poll implements store.Device.
func (d *Device) Poll() (busy bool) { return d.device.Poll() }

// Next implements store.Device.
func (d *Device) Next() (e store.Ending, ok bool) {
	e, ok = d.device.Next()
	if planned := d.failed[e.Tag]; ok && planned != nil {
		delete(d.failed, e.Tag)
		if e.Err == nil {
			d.Release(e.View)
		}
		return store.Ending{Tag: e.Tag, Err: planned}, true
	}
	return e, ok
}

// EventFD implements store.Device.
func (d *Device) EventFD() int { return d.device.EventFD() }

// Stats implements store.Device.
func (d *Device) Stats() store.DeviceStats { return d.device.Stats() }
