"""What all tests share: property tests look for wrong answers, not for slow ones."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "ovtool", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ovtool")
