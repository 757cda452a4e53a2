package dedupe

// list is a list of producers, in the order in which they were put into it.
// A producer is in two of them, by two nodes.
type list struct {
	root node
}

// node is a producer's place in a list.
type node struct {
	before, after *node
	of            *producer
}

// init makes the list an empty one. It must not be copied from then on.
func (l *list) init() {
	l.root.before, l.root.after = &l.root, &l.root
}

// first returns the producer that has been in the list for longest, nil when it
// is empty.
func (l *list) first() *producer {
	return l.root.after.of
}

// push puts a node that is in no list behind the others.
func (l *list) push(n *node) {
	n.before, n.after = l.root.before, &l.root
	n.before.after, n.after.before = n, n
}

// remove takes the node out of its list, if it is in one.
func (n *node) remove() {
	if n.before == nil {
		return
	}
	n.before.after, n.after.before = n.after, n.before
	n.before, n.after = nil, nil
}
