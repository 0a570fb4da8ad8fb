"""`TenantCache` against a model that is too simple to be wrong."""

from datetime import UTC, datetime

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fastapi_tenancy.cache import TenantCache
from fastapi_tenancy.tenant import Tenant, TenantStatus

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MAX_SIZE, TTL = 3, 10
NAMES = st.sampled_from("abcde")


class Caches(RuleBasedStateMachine):
    """The model is a list of (tenant, time of set), the one used last at its end."""

    def __init__(self):
        super().__init__()
        self.now = 0.0
        self.model = []
        self.hits = self.misses = 0
        self.cache = TenantCache(MAX_SIZE, TTL, clock=lambda: self.now)

    def look_up(self, attribute, value):
        found = [entry for entry in self.model if getattr(entry[0], attribute) == value]
        for entry in found:
            self.model.remove(entry)
            if self.now - entry[1] < TTL:
                self.model.append(entry)
                self.hits += 1
                return entry[0]
        self.misses += 1
        return None

    def drop(self, attribute, value):
        kept = [entry for entry in self.model if getattr(entry[0], attribute) != value]
        dropped, self.model = len(self.model) - len(kept), kept
        return dropped == 1

    @rule(tenant_id=NAMES, identifier=NAMES)
    def set(self, tenant_id, identifier):
        tenant = Tenant(
            id=tenant_id, identifier=identifier, name="", status=TenantStatus.ACTIVE, created_at=NOW, updated_at=NOW
        )
        self.cache.set(tenant)
        self.drop("id", tenant_id)
        self.drop("identifier", identifier)
        self.model = [*self.model, (tenant, self.now)][-MAX_SIZE:]

    @rule(tenant_id=NAMES)
    def get(self, tenant_id):
        assert self.cache.get(tenant_id) is self.look_up("id", tenant_id)

    @rule(identifier=NAMES)
    def get_by_identifier(self, identifier):
        assert self.cache.get_by_identifier(identifier) is self.look_up("identifier", identifier)

    @rule(tenant_id=NAMES)
    def invalidate(self, tenant_id):
        assert self.cache.invalidate(tenant_id) == self.drop("id", tenant_id)

    @rule(identifier=NAMES)
    def invalidate_by_identifier(self, identifier):
        assert self.cache.invalidate_by_identifier(identifier) == self.drop("identifier", identifier)

    @rule()
    def purge_expired(self):
        live = [entry for entry in self.model if self.now - entry[1] < TTL]
        assert self.cache.purge_expired() == len(self.model) - len(live)
        self.model = live

    @rule()
    def clear(self):
        assert self.cache.clear() == len(self.model)
        self.model = []

    @rule(seconds=st.sampled_from([1, 5, TTL]))
    def wait(self, seconds):
        self.now += seconds

    @invariant()
    def both_indexes_tell_the_same(self):
        by_id, by_identifier = self.cache._by_id, self.cache._by_identifier
        assert {key: entry[0] for key, entry in by_id.items()} == {entry[0].id: entry[0] for entry in self.model}
        assert {entry[0].identifier: entry for entry in by_id.values()} == by_identifier

    @invariant()
    def the_counters_tell_the_truth(self):
        stats = self.cache.stats()
        assert (stats["size"], stats["hits"], stats["misses"]) == (len(self.model), self.hits, self.misses)


TestTenantCacheModel = Caches.TestCase
TestTenantCacheModel.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
