{#- What a commit did to the rows, from its entry in the history: '+120 ~3 -0', or '' where it
    moved no rows (OPTIMIZE, comments). -#}
{%- macro changed_rows(entry) -%}
    {%- set metrics = fromjson(entry['operationMetrics'] or '{}', {}) -%}
    {%- set state = namespace(counts=[0, 0, 0]) -%}
    {%- for names in [
        ['numTargetRowsInserted', 'numOutputRows' if entry['operation'] != 'MERGE' else ''],
        ['numTargetRowsUpdated', 'numUpdatedRows'],
        ['numTargetRowsDeleted', 'numDeletedRows'],
    ] -%}
        {%- set at = loop.index0 -%}
        {%- for name in names if name in metrics -%}
            {%- set counts = state.counts -%}
            {%- set state.counts = counts[:at] + [metrics[name] | int] + counts[at + 1:] -%}
        {%- endfor -%}
    {%- endfor -%}
    {%- if state.counts | sum > 0 -%}
        {{- return('+%s ~%s -%s' % (state.counts[0], state.counts[1], state.counts[2])) -}}
    {%- endif -%}
    {{- return('') -}}
{%- endmacro -%}
