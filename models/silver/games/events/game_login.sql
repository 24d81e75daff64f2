{#- One row per login event, however often it was delivered. Written by
    scripts/game_contracts.py from loaders/games/events.yml. -#}
{{
    typed_game_events('login', [
        {'name': 'platform', 'type': 'string', 'column': 'event_platform', 'required_from': 1},
        {'name': 'last_login_ts', 'type': 'timestamp'},
    ])
}}
