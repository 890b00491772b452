package meta

import "github.com/benchfs/benchfs/internal/inode"

// inodes are the inodes that a shard has, by number.
//
// They lie in pages that never move and hold no pointers, and neither does the index: Go's garbage collector has nothing to look at, however
// many files there are. A *node is good until its inode is removed.
type inodes struct {
	index map[inode.Ino]uint32 // → page * inodesPerPage + place
	pages []*inodePage         // nil: it was empty and was given back
	// roomy are the numbers of the pages that are not full, those that were given back among them. The last one is filled first.
	roomy []uint32
}

const inodesPerPage = 256

// inodePage is 28 KiB.
type inodePage struct {
	nodes [inodesPerPage]node
	// vacant[:vacancies] are the places that are free.
	vacant    [inodesPerPage]uint8
	vacancies int
}

func newInodes() inodes { return inodes{index: map[inode.Ino]uint32{}} }

func (t *inodes) len() int { return len(t.index) }

// get returns nil for an inode that is not there.
func (t *inodes) get(ino inode.Ino) *node {
	at, ok := t.index[ino]
	if !ok {
		return nil
	}
	return &t.pages[at/inodesPerPage].nodes[at%inodesPerPage]
}

// add stores an inode, which must not be there.
func (t *inodes) add(n node) *node {
	if len(t.roomy) == 0 {
		t.roomy = append(t.roomy, uint32(len(t.pages)))
		t.pages = append(t.pages, nil)
	}
	number := t.roomy[len(t.roomy)-1]
	page := t.pages[number]
	if page == nil {
		page = newInodePage()
		t.pages[number] = page
	}
	page.vacancies--
	place := page.vacant[page.vacancies]
	if page.vacancies == 0 {
		t.roomy = t.roomy[:len(t.roomy)-1]
	}
	t.index[n.ino] = number*inodesPerPage + uint32(place)
	page.nodes[place] = n
	return &page.nodes[place]
}

// remove forgets an inode, which must be there.
func (t *inodes) remove(ino inode.Ino) {
	at := t.index[ino]
	delete(t.index, ino)
	number, place := at/inodesPerPage, at%inodesPerPage
	page := t.pages[number]
	page.nodes[place] = node{}
	page.vacant[page.vacancies] = uint8(place)
	page.vacancies++
	if page.vacancies == 1 {
		t.giveBack()
		t.roomy = append(t.roomy, number)
	} else if t.roomy[len(t.roomy)-1] != number && page.vacancies == inodesPerPage {
		t.pages[number] = nil
	}
}

// giveBack frees the page that is to be filled next if it is empty and about to be that no longer. Until then it stays: files come and go.
func (t *inodes) giveBack() {
	if len(t.roomy) == 0 {
		return
	}
	number := t.roomy[len(t.roomy)-1]
	if page := t.pages[number]; page != nil && page.vacancies == inodesPerPage {
		t.pages[number] = nil
	}
}

// each visits all, in no particular order, until visit returns an error.
func (t *inodes) each(visit func(n *node) error) error {
	for _, at := range t.index {
		if err := visit(&t.pages[at/inodesPerPage].nodes[at%inodesPerPage]); err != nil {
			return err
		}
	}
	return nil
}

// newInodePage gives places out from the first on.
func newInodePage() *inodePage {
	page := &inodePage{vacancies: inodesPerPage}
	for i := range page.vacant {
		page.vacant[i] = uint8(inodesPerPage - 1 - i)
	}
	return page
}
