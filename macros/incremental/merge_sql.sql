{#- The MERGE of one batch.

    * `prune_by` columns are bounded by the batch's own range, in literals
    * `latest_by` columns order deliveries of one key: an older delivery that arrives late
      changes nothing but the cursor. `earliest_by` is the reverse: the first delivery counts
    * a row that would not change is not updated: it counts as copied and stays out of the change
      feed. (Delta still rewrites its file, and so makes a version: only an empty batch makes none.)
    * `former` columns list what another column of the row was before, for readers that counted it
      there: the source has null in them
    * where the model rewrites whole units (`rewrites`), a row without `_batch_id` is one that is
      no longer there
    * OPTIMIZE may have been first: the MERGE is repeated, which gives the same rows -#}
{%- macro merge_sql(target, batch, columns, extent) -%}
    {%- set unique_key = config.require('unique_key') -%}
    {%- set unique_key = [unique_key] if unique_key is string else unique_key -%}
    {%- set former = config.get('former', {}) -%}
    {%- set latest_by = config.get('latest_by', []) -%}
    {%- set order = latest_by or config.get('earliest_by', []) -%}
    {%- set counts -%}
        {%- if order -%}
            struct({% for column in order %}source.{{ column }}{{ ', ' if not loop.last }}{% endfor %})
            {{ '>=' if latest_by else '<=' }} struct({% for column in order %}target.{{ column }}{{ ', ' if not loop.last }}{% endfor %})
        {%- else -%}
            true
        {%- endif -%}
    {%- endset -%}
    {%- set statement -%}
    merge into {{ target }} as target
    using {{ batch }} as source
    on
        {% for column in unique_key -%}
        {{ 'and ' if not loop.first }}target.{{ column }} = source.{{ column }}
        {% endfor -%}
        {% for column, range in extent.ranges.items() -%}
        and target.{{ column }} between {{ range[0] }} and {{ range[1] }}
        {% endfor %}
    {% if units_rewritten() -%}
    when matched and source._batch_id is null then delete
    {% endif -%}
    when matched and {{ counts }} and not (
        {% for column in columns if column not in unique_key and column not in former -%}
        {{ 'and ' if not loop.first }}target.{{ column }} <=> source.{{ column }}
        {% else -%}
        true
        {% endfor %}
    ) then update set
    {%- if former %}
        {%- for column in columns if column not in former %}
        {{ column }} = source.{{ column }},
        {%- endfor %}
        {%- for list, column in former.items() %}
        {{ list }} = case
            when target.{{ column }} <=> source.{{ column }} then target.{{ list }}
            else array_union(coalesce(target.{{ list }}, array()), array(target.{{ column }}))
        end{{ ',' if not loop.last }}
        {%- endfor %}
    {% else %} *
    {% endif -%}
    {% if order -%}
    when matched and source._batch_id > target._batch_id
        then update set _batch_id = source._batch_id
    {% endif -%}
    when not matched{{ ' and source._batch_id is not null' if units_rewritten() }} then insert *
    {%- endset -%}
    {{- retry_conflicts(statement) -}}
{%- endmacro -%}
