{#- One row per consent_changed event, however often it was delivered. Written by
    scripts/game_contracts.py from loaders/games/events.yml. -#}
{{
    typed_game_events('consent_changed', [
        {'name': 'purpose', 'type': 'string', 'required_from': 1,
         'values': ['analytics', 'marketing', 'personalised_ads']},
        {'name': 'granted', 'type': 'boolean', 'required_from': 1},
        {'name': 'policy_version', 'type': 'string', 'required_from': 1},
    ])
}}
