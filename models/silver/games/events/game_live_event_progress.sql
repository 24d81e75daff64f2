{#- One row per live_event_progress event, however often it was delivered. Written by
    scripts/game_contracts.py from loaders/games/events.yml. -#}
{{
    typed_game_events('live_event_progress', [
        {'name': 'live_event_id', 'type': 'string', 'required_from': 1},
        {'name': 'phase', 'type': 'string', 'required_from': 1},
        {'name': 'points', 'type': 'integer', 'required_from': 1},
        {'name': 'rank', 'type': 'integer'},
    ])
}}
