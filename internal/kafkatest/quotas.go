package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
)

// Quota bounds the rates, in bytes per second, at which each node lets clients
// with a client.id write and read (KIP-13, KIP-546). Who exceeds one is made to
// wait. 0 takes a bound away. It waits until the cluster tells the new bounds;
// nodes heed them a moment later.
func (b *Broker) Quota(t testing.TB, clientID string, write, read float64) {
	t.Helper()
	b.do(t, "setting quotas of "+clientID, func(ctx context.Context) error {
		return b.admin(func(adm *kadm.Client) error { return setQuota(ctx, adm, clientID, write, read) })
	})
}

func setQuota(ctx context.Context, adm *kadm.Client, clientID string, write, read float64) error {
	want := map[string]float64{"producer_byte_rate": write, "consumer_byte_rate": read}
	entry := kadm.AlterClientQuotaEntry{Entity: kadm.ClientQuotaEntity{{Type: "client-id", Name: &clientID}}}
	for key, value := range want {
		entry.Ops = append(entry.Ops, kadm.AlterClientQuotaOp{Key: key, Value: value, Remove: value == 0})
	}
	altered, err := adm.AlterClientQuotas(ctx, []kadm.AlterClientQuotaEntry{entry})
	if err != nil {
		return err
	}
	for _, a := range altered {
		err = errors.Join(err, a.Err)
	}
	if err != nil {
		return err
	}
	return poll(ctx, func() error {
		described, err := adm.DescribeClientQuotas(ctx, true, []kadm.DescribeClientQuotaComponent{{Type: "client-id", MatchName: &clientID}})
		if err != nil {
			return err
		}
		got := map[string]float64{}
		for _, d := range described {
			for _, v := range d.Values {
				got[v.Key] = v.Value
			}
		}
		for key, value := range want {
			if got[key] != value {
				return fmt.Errorf("%s is %v", key, got[key])
			}
		}
		return nil
	})
}
