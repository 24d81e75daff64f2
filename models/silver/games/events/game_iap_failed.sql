{#- One row per iap_failed event, however often it was delivered. Written by
    scripts/game_contracts.py from loaders/games/events.yml. -#}
{{
    typed_game_events('iap_failed', [
        {'name': 'sku', 'type': 'string', 'required_from': 1},
        {'name': 'reason', 'type': 'string', 'required_from': 1,
         'values': ['cancelled', 'declined', 'store_unavailable', 'timed_out']},
        {'name': 'store_code', 'type': 'string'},
    ])
}}
