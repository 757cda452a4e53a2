package kafka

import (
	"fmt"
	"slices"

	"github.com/IBM/sarama"
)

// candidates lists the addresses to ask at: the configured ones, then the ones
// that the brokers named.
func (m *metadata) candidates() []string {
	all := slices.Clone(m.c.cfg.Brokers)
	m.mu.Lock()
	ids := make([]int32, 0, len(m.brokers))
	for id := range m.brokers {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		if a := m.brokers[id]; !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	m.mu.Unlock()
	return all
}

// request asks the broker that answered last, or the next one in turn.
func (m *metadata) request(names []string) (*sarama.MetadataResponse, error) {
	if m.doubt.Swap(false) && m.conn != nil {
		m.conn.close()
		m.conn = nil
		m.next++
	}
	if m.conn == nil {
		all := m.candidates()
		m.addr = all[m.next%len(all)]
		c, err := open(m.c.ctx, m.addr, m.c.base)
		if err != nil {
			m.fail(false, err)
			return nil, err
		}
		m.conn = c
	}
	req := sarama.NewMetadataRequest(m.c.version, names)
	req.AllowAutoTopicCreation = false
	answer, err := m.conn.GetMetadata(req)
	if err == nil && len(answer.Brokers) == 0 {
		err = fmt.Errorf("asking for metadata: the broker knows no brokers yet; it may be starting: %w", sarama.ErrIncompleteResponse)
	}
	if err != nil {
		m.fail(true, err)
		return nil, err
	}
	m.c.health.answered(m.addr)
	return answer, nil
}

// fail drops the connection and goes on to the next broker.
func (m *metadata) fail(lost bool, err error) {
	if m.conn != nil {
		m.conn.close()
		m.conn = nil
	}
	if m.c.ctx.Err() == nil {
		m.c.health.failed(m.addr, lost, err)
	}
	m.next++
	m.failures++
}
